"""mobilenets: a folder of images in, the fastest MobileNet that a device can run out, with proof."""

__version__ = "0.1.0"
