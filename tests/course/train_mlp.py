"""A training script as students of the course write it: batches sliced by hand, the loss summed, a plain update."""

import argparse

import numpy as np

import vugrad as vg


class MLP(vg.Module):
    """One hidden layer, four times as wide as the input."""

    def __init__(self, input_size, output_size, hidden_mult=4):
        super().__init__()
        hidden_size = hidden_mult * input_size
        self.layer1 = vg.Linear(input_size, hidden_size)
        self.layer2 = vg.Linear(hidden_size, output_size)

    def forward(self, input):
        assert len(input.size()) == 2
        hidden = vg.sigmoid(self.layer1(input))
        return vg.logsoftmax(self.layer2(hidden))

    def parameters(self):
        return self.layer1.parameters() + self.layer2.parameters()


parser = argparse.ArgumentParser()
parser.add_argument("-D", "--dataset", choices=["synth", "mnist"], default="synth")
parser.add_argument("-b", "--batch-size", type=int, default=128)
parser.add_argument("-e", "--epochs", type=int, default=20)
parser.add_argument("-l", "--learning-rate", type=float, default=0.01)
parser.add_argument("--limit", type=int, default=None, help="use this many instances only")
args = parser.parse_args()

if args.dataset == "synth":
    (xtrain, ytrain), (xval, yval), num_classes = vg.load_synth()
else:
    (xtrain, ytrain), (xval, yval), num_classes = vg.load_mnist(final=False, flatten=True)
xtrain, ytrain = xtrain[: args.limit], ytrain[: args.limit]
xval, yval = xval[: args.limit], yval[: args.limit]

num_instances, num_features = xtrain.shape
mlp = MLP(input_size=num_features, output_size=num_classes)

for epoch in range(args.epochs):
    o = mlp(vg.TensorNode(xval))
    accuracy = (np.argmax(o.value, axis=1) == yval).sum() / yval.shape[0]
    o.clear()

    running_loss = 0.0
    for fr in range(0, num_instances, args.batch_size):
        to = min(fr + args.batch_size, num_instances)
        batch, targets = xtrain[fr:to], ytrain[fr:to]

        loss = vg.logceloss(mlp(vg.TensorNode(value=batch)), targets)
        running_loss += loss.value
        loss.backward()
        for parm in mlp.parameters():
            parm.value -= args.learning_rate * parm.grad
        loss.zero_grad()
        loss.clear()
    print(f"{epoch} {accuracy:.4f} {running_loss / num_instances:.4f}")
