"""The program check.py that lies in a model file: anybody can prove the file with NumPy, Pillow and a runtime alone.

This library writes and seals it, and never runs it.
"""

CHECK_SCRIPT = '''\
"""python check.py [FILE]: hashes, golden pictures, FILE (or onnx/model.onnx) on golden tensors; 1 on a difference."""
import hashlib, importlib, json, pathlib, sys
import numpy as np
from PIL import Image, ImageOps

HERE, LIMITS = pathlib.Path(__file__).resolve().parent, {"float32": 2e-4, "float16": 1e-2, "bfloat16": 1e-1}

def arrays(raw):  # safetensors: the length of a JSON header, the header, the numbers
    start = 8 + int.from_bytes(raw[:8], "little")
    return {name: np.frombuffer(raw[start:][slice(*part["data_offsets"])], "<f4").reshape(part["shape"])
            for name, part in json.loads(raw[8:start]).items() if name != "__metadata__"}

def levels(file, p, tensor):  # 0..255 between picture and tensor; None: that takes more than Pillow's filters and modes
    image, (h, w), ratio = ImageOps.exif_transpose(Image.open(file)), p["size_px"], p["crop_ratio"]
    way, (width, height), size = Image.Resampling[p["interpolation"].upper()], image.size, (w, h)
    if not p["antialias"] or p["colour"] == "grey" or image.mode not in ("RGB", "L") or "transparency" in image.info:
        return None
    if p["fit"] == "central_then_stretch":
        in_w, in_h = max(round(width * ratio), 1), max(round(height * ratio), 1)
        left, top = (width - in_w) // 2, (height - in_h) // 2
        image = image.crop((left, top, left + in_w, top + in_h))
    elif p["fit"] == "short_then_crop":
        size = (int(w / ratio + 1e-6), int(h / ratio + 1e-6))
        size = (max(size[0], size[1] * width // height), max(size[1], size[0] * height // width))
    x, y = round((size[0] - w) / 2), round((size[1] - h) / 2)
    columns = image.convert("RGB").resize((size[0], image.height), way)  # first, as every Pillow before 13
    pixels = np.asarray(columns.resize(size, way))
    pixels = pixels[y : y + h, x : x + w, :: -1 if p["colour"] == "bgr" else 1]
    made = (pixels / np.float32(255) - np.float32(p["mean"])) / np.float32(p["std"])
    return np.abs(made.transpose(2, 0, 1) - tensor).max() * 255 * max(p["std"])

def outputs(file, x):  # LiteRT takes channels last, the others first
    if file.suffix == ".tflite":
        net = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(file)).get_signature_runner()
        return list(net(**{name: np.moveaxis(x, 1, -1).copy() for name in net.get_input_details()}).values())
    if file.suffix == ".xml":
        float32 = {"INFERENCE_PRECISION_HINT": "f32"}  # not what it likes better on this processor
        return list(importlib.import_module("openvino").compile_model(str(file), "CPU", float32)(x).values())
    net = importlib.import_module("onnxruntime").InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return net.run(None, {net.get_inputs()[0].name: x})

def checks(file="onnx/model.onnx"):  # (what, value, limit, where)
    seal, record, index = (json.loads((HERE / f"{f}.json").read_bytes()) for f in ("manifest", "model", "golden/index"))
    for name, sealed in seal["files"].items():
        data = (HERE / name).read_bytes() if (HERE / name).is_file() else sys.exit(f"NO {name} is missing")
        yield "hash differs", int(hashlib.sha256(data).hexdigest() != sealed["sha256"]), 0, name
    golden, p = arrays((HERE / "golden/vectors.safetensors").read_bytes()), record["preprocess"]
    for picture, tensor in zip(index["images"], golden["inputs"]):
        yield "pixel levels", levels(HERE / picture["file"], p, tensor), 2, picture["file"]
    limits = {export["file"]: LIMITS[export["precision"]] for export in record["exports"]}
    for name, found in zip(index["output_names"], outputs(HERE / file, golden["inputs"])):
        wanted = golden["outputs." + name]
        yield "relative error", np.abs(found - wanted).max() / np.abs(wanted).max(), limits[file], f"{file} {name}"

passed = True
for what, value, limit, where in checks(*sys.argv[1:2]):
    passed &= (ok := value is None or bool(value <= limit))
    print("ok" if ok else "NO", what, "skipped" if value is None else f"{value:.3g} (at most {limit:g})", where)
sys.exit(not passed)
'''
