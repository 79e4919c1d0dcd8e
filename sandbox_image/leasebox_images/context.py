"""What does the engine build an image from? Its folder, and the certificates that this machine trusts."""

import io
import ssl
import tarfile
from pathlib import Path

CERTIFICATES = "ca.pem"
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def build_context(folder: Path) -> bytes:
    """The folder as a tar file, with one more: `ca.pem`, for recipes that fetch packages themselves.

    Behind a proxy that signs with a certificate of its own, packages can be fetched on this machine and would be
    refused in a new image. It is empty where this machine has no bundle; an image has Debian's besides.
    """
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(folder, arcname=".", filter=_without_byte_code)
        bundle = _certificates()
        entry = tarfile.TarInfo(CERTIFICATES)
        entry.size = len(bundle)
        tar.addfile(entry, io.BytesIO(bundle))
    return data.getvalue()


def _certificates() -> bytes:
    """OpenSSL's own bundle, which SSL_CERT_FILE names, else the distribution's."""
    own = ssl.get_default_verify_paths().cafile
    found = next((Path(path) for path in (own, *_BUNDLES) if path and Path(path).is_file()), None)
    return found.read_bytes() if found else b""


def _without_byte_code(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in Path(entry.name).parts else entry
