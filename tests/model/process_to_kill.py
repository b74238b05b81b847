"""A generation that keeps its nodes, to be killed: `python -m … FOLDER OUT`."""

import sys
from pathlib import Path

from safetensors.torch import save_file

from model.generation import Finished
from model.node_store import NodeStore
from model.work import Execution
from tests.model.tiny_generator import tiny_generator, tiny_request, video_of


def main(folder: Path, out: Path) -> None:
    def tell(finished: Finished) -> None:
        sys.stdout.write(f"{finished.node.id} {'found' if finished.reused else 'made'}\n")
        sys.stdout.flush()
        if out.name == "pause" and finished.node.id == "1.1":
            sys.stdin.readline()  # until it is killed

    with NodeStore(folder) as store:
        segments = tiny_generator().generate(
            tiny_request(), Execution(batch=2), store=store, watch=tell
        )
        save_file({"video": video_of(segments)}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
