"""The LiteRT target: `target` is what the table of targets names; `writer` and the operators make .tflite files."""
