"""Reads an exported experiment as the published scripts do, and prints what PyTorch, betacal and joblib make of it.

    python3 read_experiment.py FOLDER P P …

Prints JSON: for each fold the names of the checkpoint's tensors with their shapes, and what the calibrator makes of
the probabilities P.
"""

import json
import re
import sys
from argparse import Namespace
from pathlib import Path

import joblib
import numpy
import torch

folder, given = Path(sys.argv[1]), numpy.array([float(p) for p in sys.argv[2:]])
arguments = eval((folder / "args.txt").read_text(), {"Namespace": Namespace, "__builtins__": {}})
folds = {}
for path in sorted(folder.glob("fold_*")):
    fold = int(re.fullmatch(r"fold_(\d+)", path.name)[1])
    state = torch.load(path / "best_both.pt", map_location="cpu", weights_only=True)["model"]
    calibrator = joblib.load(path / f"cal_{fold}.pkl")
    folds[fold] = {
        "shapes": {name: list(tensor.shape) for name, tensor in state.items()},
        "first": state["classifier_image.bias"].tolist(),
        "calibrated": calibrator.predict(given).tolist(),
    }
print(json.dumps({"arguments": vars(arguments), "folds": folds}))
