"""Runtimes: what turns a manifest and a volume into a prediction."""

import os

# ONNX Runtime reports to its maker unless it is told not to before its import. A worker's
# environment says so already (``containment.launch``); this is for whoever else uses a runtime.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
