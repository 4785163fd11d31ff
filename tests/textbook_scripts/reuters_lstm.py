"""Classifies newswires by topic with an LSTM."""

import json
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import tensorflow as tf
from tensorflow.keras.callbacks import EarlyStopping
from tensorflow.keras.layers import LSTM, Dense, Embedding
from tensorflow.keras.models import Sequential
from tensorflow.keras.preprocessing import sequence
from tensorflow.keras.utils import to_categorical

from fastseq.data import load_reuters

tf.keras.utils.set_random_seed(1)

corpus = load_reuters(num_words=1000, data=os.environ.get("FASTSEQ_DATA", "synthetic"))
x_train = sequence.pad_sequences(corpus.x_train[:600], maxlen=100)
x_test = sequence.pad_sequences(corpus.x_test[:200], maxlen=100)
y_train = to_categorical(corpus.y_train[:600], 46)
y_test = to_categorical(corpus.y_test[:200], 46)

model = Sequential()
model.add(Embedding(1000, 100))
model.add(LSTM(100, activation="tanh"))
model.add(Dense(46, activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

stopping = EarlyStopping(monitor="val_loss", patience=5)
history = model.fit(
    x_train, y_train, batch_size=20, epochs=2, validation_data=(x_test, y_test), callbacks=[stopping], verbose=2
)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"Test accuracy: {accuracy:.4f}")

epochs = range(1, len(history.history["loss"]) + 1)
plt.plot(epochs, history.history["val_loss"], marker=".", color="red", label="test")
plt.plot(epochs, history.history["loss"], marker=".", color="blue", label="training")
plt.legend(loc="upper right")
plt.xlabel("epoch")
plt.ylabel("loss")
plt.savefig("loss.png")

print(model.layers)
print(json.dumps(history.history["loss"] + history.history["val_loss"] + [loss]))
