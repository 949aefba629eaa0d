"""Training: trainer.py (epochs, a batch's loss, early stopping), losses.py (and their registry), negative_sampling.py, optimizers.py, row_adam.py (Adam by row),
reproducibility.py (seeds), states.py (resume), estimate.py (how long it takes), loggers.py (TensorBoard, Weights & Biases).
"""
