"""From a label map to the objects that leave: segmentation, report, and the gate."""
