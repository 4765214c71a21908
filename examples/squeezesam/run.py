"""Cuts the subject out of a photo with an exported SqueezeSAM and compares the masks with eager PyTorch's.

Without `--image` the photo is the astronaut that scikit-image ships. The prompt is one or more clicks, or a box, in
pixels of the photo. Writes the photo with the mask over it, and with `--json` the figures.
"""

import argparse
import json
from pathlib import Path

import executorch_tandem
import numpy as np
import skimage
import torch
from executorch.runtime import Runtime
from model import PARAMETERS, SIZE, macs, squeezesam
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLICK_RADIUS = 5
DEFAULT_CLICK = (225.0, 110.0)
COLOUR = (30, 144, 255)

Prompt = tuple[list[tuple[float, float]], tuple[float, float, float, float] | None]


def preprocess(photo: Image.Image, prompt: Prompt) -> Tensor:
    """`[1, 5, 512, 512]`: normalised RGB, the box (ones where there is none), discs around the clicks."""
    clicks, box = prompt
    rgb = photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(rgb, dtype=np.float32) / 255).permute(2, 0, 1)
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    scale_x, scale_y = SIZE / photo.width, SIZE / photo.height
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    inside = torch.ones(SIZE, SIZE)
    if box is not None:
        left, top, right, bottom = box
        inside = (x >= left * scale_x) & (x <= right * scale_x) & (y >= top * scale_y) & (y <= bottom * scale_y)
    discs = torch.zeros(SIZE, SIZE)
    for click_x, click_y in clicks:
        distance = (x - click_x * scale_x) ** 2 + (y - click_y * scale_y) ** 2
        discs[distance <= CLICK_RADIUS**2] = 1
    return torch.cat([pixels, inside[None].float(), discs[None]])[None].contiguous()


def postprocess(masks: Tensor, iou: Tensor, photo: Image.Image) -> np.ndarray:
    """The mask of highest predicted IoU, boolean, in the photo's size."""
    best = masks[:, iou[0].argmax()][:, None]
    logits = interpolate(best, (photo.height, photo.width), mode="bicubic", align_corners=False)
    return (logits[0, 0] > 0).numpy()


def overlay(photo: Image.Image, mask: np.ndarray, prompt: Prompt) -> Image.Image:
    """The photo, tinted where the mask is, with the prompt drawn in."""
    pixels = np.asarray(photo, dtype=np.float32)
    pixels = np.where(mask[..., None], 0.45 * pixels + 0.55 * np.array(COLOUR), 0.6 * pixels + 0.4 * 255)
    picture = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    clicks, box = prompt
    if box is not None:
        draw.rectangle(box, outline="red", width=3)
    for x, y in clicks:
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill="red", outline="white", width=2)
    return picture


def compare(got: list[Tensor], want: list[Tensor]) -> dict[str, float]:
    """Largest difference, absolute and relative to the range of the output it is in."""
    absolute = [(a - b).abs().max().item() for a, b in zip(got, want, strict=True)]
    ranges = [(b.max() - b.min()).item() for b in want]
    relative = [a / r for a, r in zip(absolute, ranges, strict=True)]
    return {"max_abs_err": max(absolute), "max_rel_err": max(relative)}


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("squeezesam.tandem.pte"))
    parser.add_argument("--image", type=Path, help="default: scikit-image's astronaut")
    parser.add_argument("--click", type=float, nargs=2, action="append", metavar=("X", "Y"))
    parser.add_argument("--box", type=float, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"))
    parser.add_argument("--out", type=Path, default=Path("mask.png"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


def main() -> None:
    """Runs both, writes the picture, prints the figures."""
    args = arguments()
    clicks = [(x, y) for x, y in args.click or []]
    prompt: Prompt = (clicks or ([] if args.box else [DEFAULT_CLICK]), tuple(args.box) if args.box else None)
    path = args.image or Path(skimage.__file__).parent / "data/astronaut.png"
    photo = Image.open(path).convert("RGB")
    image = preprocess(photo, prompt)

    method = Runtime.get().load_program(args.model).load_method("forward")
    got = method.execute([image])
    model = squeezesam()
    with torch.no_grad():
        want = list(model(image))

    mask, eager_mask = postprocess(*got, photo), postprocess(*want, photo)
    overlay(photo, mask, prompt).save(args.out)
    figures = {
        "params": PARAMETERS,
        "gmac": round(macs(model, image) / 1e9, 2),
        **compare(got, want),
        "mask_share": float(mask.mean()),
        "pixels_unlike_eager": int((mask != eager_mask).sum()),
        "iou": got[1][0].tolist(),
        "tandem": executorch_tandem.version(),
    }
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
