"""DICOM as the node knows it: identifiers, contexts, headers, geometry and pixels."""
