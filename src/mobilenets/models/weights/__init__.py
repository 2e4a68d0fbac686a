"""Readers and writers of published checkpoints: arrays in, (spec, arrays, preprocess) out. No framework is needed.

A graph file (TFLite, ONNX, OpenVINO, Keras) becomes a `Graph`, and `recognise` finds the network in it; a bag of named
tensors (timm, torchvision, Hugging Face, slim, ...) is matched to a spec by names and shapes. Readers know no model
files of ours and run nothing: the proof is importing.py's.
"""
