"""How the bundled model was made: cut-outs, scenes, training, evaluation, example images."""
