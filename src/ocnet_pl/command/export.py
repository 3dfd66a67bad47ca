"""`ocnet-export`: write a trained network as an exported program of PyTorch, or as ONNX."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from ocnet_pl.atomic import refuse_unwritable
from ocnet_pl.command.parsing import CHECKPOINT, CommandParser, console_script, image_size, require_checkpoints
from ocnet_pl.errors import UserError, readable_os_errors
from ocnet_pl.escaping import printable
from ocnet_pl.hub import local_file
from ocnet_pl.tools.export import NEEDED, OLDEST_TORCH

DESCRIPTION = """\
Writes the network of a checkpoint for programs without ocnet_pl. The suffix of OUT is the format:

  OUT.pt2   exported program of PyTorch: torch.export.load(OUT).module()(image)
  OUT.onnx  ONNX, for onnxruntime and others; needs the extra: pip install 'ocnet_pl[export]'

Input: RGB in 0..255, (batch, 3, height, width), bytes unless --float is given. The normalisation is inside. Output:
logits (batch, classes, height, width), of one forward pass at the image's own size. Batch, height and width are free
unless --size is given. OUT also carries the class names and their stored ids. Before it is written, its logits are
compared with the network's, at several sizes."""

EPILOG = """\
examples:
  ocnet-export outputs/demo/base_oc/seed-0/checkpoints/last.ckpt base_oc.onnx
  ocnet-export last.ckpt network.pt2 --float
  ocnet-export last.ckpt network.onnx --size 1024x2048"""


def main() -> None:
    """Entry point."""
    with console_script("ocnet-export"):
        _export(_parser().parse_args())


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="ocnet-export", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT)
    parser.add_argument("out", type=Path, metavar="OUT", help="file to write, .pt2 or .onnx")
    parser.add_argument("--size", type=image_size, help="size of all images: a number, or HEIGHTxWIDTH (default: any)")
    parser.add_argument("--float", action="store_true", help="the file takes float32 in 0..255 in place of bytes")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    return parser


def _export(arguments: argparse.Namespace) -> None:
    out = arguments.out
    if out.suffix not in NEEDED:
        raise UserError(f"{out}: the suffix is the format; end the name in {' or '.join(NEEDED)}")
    if out.exists() and not arguments.force:
        raise UserError(f"{out}: already exists; choose another name, or add --force")
    checkpoint = local_file(arguments.checkpoint)
    require_checkpoints(checkpoint)
    with readable_os_errors(out):
        refuse_unwritable(out)  # before the network is opened
    if missing := [name for name in NEEDED[out.suffix] if find_spec(name) is None]:
        raise UserError(f"{out}: {out.suffix} needs {', '.join(missing)}: pip install 'ocnet_pl[export]'")
    import torch

    if torch.__version__ < OLDEST_TORCH:  # as versions: it is a TorchVersion
        raise UserError(f"{out}: ocnet-export needs torch {OLDEST_TORCH}, not {torch.__version__}; install a newer one")
    from ocnet_pl.run.restoring import restore
    from ocnet_pl.tools.export.exporting import export_network

    restored = restore(checkpoint)
    done = export_network(restored, out, size=arguments.size, floats=arguments.float)
    sizes = ", ".join(f"{height}x{width}" for height, width in dict.fromkeys(done.sizes))
    print(printable(f"{out}: logits as the network's to {done.difference:.0e} of the largest, at {sizes}"))
    if done.largest_map:
        positions, others = done.largest_map
        print(
            f"attention: this file stores its map, {positions} x {others} weights for one image of "
            f"{done.image[0]}x{done.image[1]}: {4 * positions * others / 2**30:.2f} GiB; a .pt2 stores none"
        )


if __name__ == "__main__":
    main()
