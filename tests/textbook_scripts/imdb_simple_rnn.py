"""Classifies film reviews as good or bad with a SimpleRNN, from one-hot words and from an Embedding."""

import json
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import tensorflow as tf
from tensorflow import keras

from fastseq.data import load_imdb

tf.keras.utils.set_random_seed(42)
tf.config.experimental.enable_op_determinism()

corpus = load_imdb(num_words=300, data=os.environ.get("FASTSEQ_DATA", "synthetic"))
texts = keras.preprocessing.sequence.pad_sequences(corpus.x_train[:1280], maxlen=100)
train_texts, val_texts = texts[:1024], texts[1024:]
train_target, val_target = corpus.y_train[:1024], corpus.y_train[1024:1280]


def train(model, train_input, val_input, name):
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=1e-4), loss="binary_crossentropy", metrics=["accuracy"]
    )
    checkpoint = keras.callbacks.ModelCheckpoint(f"best-{name}.h5", save_best_only=True)
    stopping = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    history = model.fit(
        train_input,
        train_target,
        epochs=4,
        batch_size=64,
        validation_data=(val_input, val_target),
        callbacks=[checkpoint, stopping],
        verbose=0,
    )
    plt.figure()
    plt.plot(history.history["loss"])
    plt.plot(history.history["val_loss"])
    plt.xlabel("epoch")
    plt.ylabel("loss")
    plt.legend(["train", "val"])
    plt.savefig(f"loss-{name}.png")
    best = keras.models.load_model(f"best-{name}.h5")
    loss, _ = best.evaluate(val_input, val_target, verbose=0)
    return [*history.history["loss"], *history.history["val_loss"], loss]


one_hot = keras.Sequential()
one_hot.add(keras.layers.SimpleRNN(8, input_shape=(100, 300)))
one_hot.add(keras.layers.Dense(1, activation="sigmoid"))
train_oh, val_oh = keras.utils.to_categorical(train_texts, 300), keras.utils.to_categorical(val_texts, 300)
print(train_oh.shape, train_oh[0][0][:12])
losses = train(one_hot, train_oh, val_oh, "one-hot")

embedded = keras.Sequential()
embedded.add(keras.layers.Embedding(300, 16, input_length=100))
embedded.add(keras.layers.SimpleRNN(8))
embedded.add(keras.layers.Dense(1, activation="sigmoid"))
losses += train(embedded, train_texts, val_texts, "embedding")

print(one_hot.layers + embedded.layers)
print(json.dumps(losses))
