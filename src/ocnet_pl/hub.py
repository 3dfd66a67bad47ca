"""Checkpoints on the Hugging Face Hub: `hf://user/repo/last.ckpt`."""

from pathlib import Path

from ocnet_pl.errors import UserError

ADDRESS = "hf://"
"""Beginning of the address of a file on the Hub."""


def local_file(place: str | Path) -> Path:
    """File of a path, or of an address on the Hub, which is downloaded once and kept in the Hub's own cache.

    Args:
        place: a path, or `hf://user/repo[@revision]/path` in a repository of models.

    Raises:
        UserError: an address that names no such file, or a file that cannot be downloaded.
    """
    if not (isinstance(place, str) and place.startswith(ADDRESS)):
        return Path(place)
    try:
        from huggingface_hub import hf_hub_download, parse_hf_uri
    except ImportError:
        raise UserError(f"{place}: needs huggingface-hub 2.4 or newer: pip install 'ocnet_pl[hub]'") from None
    try:
        parsed = parse_hf_uri(place)
    except ValueError as error:
        raise UserError(f"{place}: {_reason(error)}; expected hf://user/repo/last.ckpt") from error
    if parsed.type != "model" or not parsed.path_in_repo:
        raise UserError(f"{place}: expected a file in a repository of models, e.g. hf://user/repo/last.ckpt")
    try:
        return Path(hf_hub_download(parsed.id, parsed.path_in_repo, revision=parsed.revision))
    except Exception as error:  # the library raises errors of many kinds, and passes on those of others
        raise UserError(
            f"{place}: cannot be downloaded ({_reason(error)}); check the address and the connection, log in with 'hf "
            "auth login' if the repository is private, or download the file and give its path"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__
