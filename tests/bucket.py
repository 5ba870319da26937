"""An S3 server on this machine, for tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def served(bucket: str = "searches") -> Iterator[str]:
    """moto's server with one bucket; yields the options that a URI of it needs."""
    from pyarrow import fs

    port = free_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        address = {"region": "us-east-1", "endpoint_override": f"127.0.0.1:{port}", "scheme": "http"}
        fs.S3FileSystem(**address, allow_bucket_creation=True).create_dir(bucket)
        yield "?" + "&".join(f"{name}={value}" for name, value in address.items())
    finally:
        server.terminate()
        server.wait(10)
