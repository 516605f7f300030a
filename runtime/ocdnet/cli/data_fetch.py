"""`ocdnet data fetch`: data from a bucket, a web server or another place that a URI names."""

from __future__ import annotations

from pathlib import Path

import click

from ocdnet.cli.shared import print_json
from ocdnet.errors import Interrupted


@click.command(
    epilog="""\b
Examples:
  ocdnet data fetch s3://bucket/words/train --out words/train
  ocdnet data fetch https://example.org/train.tar.gz --out words/train"""
)
@click.argument("uri")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; absent or empty."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Files to fetch at a time.",
)
def fetch(uri: str, out: Path, workers: int) -> None:
    """Fetch a file, a folder (prefix) or an archive from URI, and unpack the archive.

    URI begins with s3://, gs:// (extra `uri`), https:// or file://. OUT is whole or absent: files
    wait in OUT.part, and the same command goes on there after a cut. Checked are sizes, lists of
    checksums (SHA256SUMS, md5sums.txt in the folder, FILE.sha256 beside a file), and the MD5 that
    S3 and Google's store keep. Archives within a folder stay as they are. Prints JSON: uri, fetched
    (bytes that came), kept (bytes that an earlier try had brought), checked (files with a
    checksum), out, files, bytes, data_path (OUT where it holds img/ and gt/ or .tar files, else
    null), images, warnings.

    Credentials are found as AWS's and Google's own tools find them; AWS_ENDPOINT_URL names another
    server that speaks S3.
    """
    from ocdnet.data.fetching import fetch as run

    try:
        print_json(run(uri, out, workers=workers))
    except KeyboardInterrupt as error:
        raise Interrupted(
            "interrupted",
            f"Interrupted: what is fetched waits in {out}.part",
            hint="Run it again, and it goes on there.",
        ) from error
