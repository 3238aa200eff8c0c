"""The boundary: what may leave the DICOM side for a model, built up and never cut down."""
