"""Estimators: what learns from features, and is kept as ONNX."""
