"""A real analysis: can a model tell malignant from benign tumours in the Wisconsin breast cancer data?"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

data = load_breast_cancer(as_frame=True)
print(f"{len(data.frame)} tumours, {data.data.shape[1]} measurements each: {dict(data.frame['target'].value_counts())}")

x_train, x_test, y_train, y_test = train_test_split(
    data.data.to_numpy(), data.target.to_numpy(), test_size=0.3, random_state=0, stratify=data.target
)
scaler = StandardScaler().fit(x_train)
x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

model = SGDClassifier(loss="log_loss", alpha=0.01, random_state=0)
losses = []
for epoch in range(1, 21):
    model.partial_fit(x_train, y_train, classes=[0, 1])
    losses.append(log_loss(y_test, model.predict_proba(x_test)))
    accuracy = accuracy_score(y_test, model.predict(x_test))
    print(f"epoch {epoch:2d}  test loss {losses[-1]:.3f}  accuracy {accuracy:.1%}", flush=True)

matrix = confusion_matrix(y_test, model.predict(x_test))
names = list(data.target_names)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
left.plot(range(1, 21), losses, marker="o", markersize=3)
left.set(title="Test loss while training", xlabel="epoch", ylabel="log loss")
left.grid(alpha=0.3)
right.imshow(matrix, cmap="Blues")
right.set(title="Confusion matrix", xlabel="predicted", ylabel="true", xticks=[0, 1], yticks=[0, 1], xticklabels=names, yticklabels=names)
for i, j in np.ndindex(2, 2):
    right.text(j, i, matrix[i, j], ha="center", va="center", color="white" if matrix[i, j] > matrix.max() / 2 else "black")
figure.tight_layout()
plt.show()

weights = pd.Series(model.coef_[0], index=data.feature_names, name="weight")
weights.reindex(weights.abs().sort_values(ascending=False).index).head(8).round(3).to_frame()
