"""Classifies film reviews as good or bad: a convolution, pooling, an LSTM."""

import json
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import tensorflow as tf
from tensorflow.keras.callbacks import EarlyStopping
from tensorflow.keras.layers import LSTM, Activation, Conv1D, Dense, Dropout, Embedding, MaxPooling1D
from tensorflow.keras.models import Sequential
from tensorflow.keras.preprocessing.sequence import pad_sequences

from fastseq.data import load_imdb

tf.keras.utils.set_random_seed(3)

corpus = load_imdb(num_words=5000, data=os.environ.get("FASTSEQ_DATA", "synthetic"))
x_train, y_train = pad_sequences(corpus.x_train[:480], maxlen=500), corpus.y_train[:480]
x_test, y_test = pad_sequences(corpus.x_test[:100], maxlen=500), corpus.y_test[:100]

model = Sequential()
model.add(Embedding(5000, 100))
model.add(Dropout(0.5))
model.add(Conv1D(64, 5, padding="valid", activation="relu", strides=1))
model.add(MaxPooling1D(pool_size=4))
model.add(LSTM(55))
model.add(Dense(1))
model.add(Activation("sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])

history = model.fit(
    x_train,
    y_train,
    batch_size=40,
    epochs=2,
    validation_split=0.25,
    callbacks=[EarlyStopping(monitor="val_loss", patience=3)],
)
model.summary()
print(f"Test accuracy: {model.evaluate(x_test, y_test)[1]:.4f}")

losses, validation = history.history["loss"], history.history["val_loss"]
figure, axes = plt.subplots()
axes.plot(range(1, len(losses) + 1), losses, "b.-", label="training")
axes.plot(range(1, len(losses) + 1), validation, "r.-", label="validation")
axes.set(xlabel="epoch", ylabel="loss")
axes.grid()
axes.legend()
figure.savefig("loss.png")

print(model.layers)
print(json.dumps(losses + validation))
