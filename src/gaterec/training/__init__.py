"""Training: trainer.py (epochs, early stopping), step.py (a batch's loss), losses.py, negative_sampling.py, optimizers.py, row_adam.py (Adam by row),
reproducibility.py (seeds), states.py (resume), estimate.py (how long it takes), loggers.py (TensorBoard, Weights & Biases).
"""
