"""A model that does not take the pictures that it is given, in every command that runs it."""

import pytest
from command import call, refused

COMMANDS = [
    ("explain", "photo.png", "--method", "saliency"),
    ("activations", "photo.png"),
    ("backproject", "photo.png", "--layer", "0"),
    ("report", "photo.png"),
    ("layers",),
    ("summary",),
]
FAULTS = {
    "grey": "the model takes (N, 1, height, width): it has 3 channels instead of 1",
    "double": "inputs is torch.float32, the model's parameters torch.float64",
    "misfitting": "shapes cannot be multiplied",
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("model", FAULTS)
def test_what_a_model_does_not_take_is_said_in_each_command(here, command, model):
    refused(call(*command, "--model", f"models.py:{model}"), FAULTS[model])


def test_shapes_without_values_are_no_scores(here):
    refused(call("explain", "photo.png", "--device", "meta"), "has shapes but no values")
