"""`python -m engine.training VERB`: the door to every training run, its figures and its export.

It knows which module answers which verb and reads the environment for all of them; it imports only the one asked for.
Such a module offers `main(verb, argv, environ) -> exit status`.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence

VERBS = {
    "gan": ("engine.training.train_gan", "train the generator"),
    "text": ("engine.training.train_text", "train the text tower on cached features"),
    "scorer": ("engine.training.train_clip", "train the CLIP that ranks and steers"),
    "judge": ("engine.training.train_clip", "train the CLIP that only measures"),
    "vqgan": ("engine.training.train_vqgan", "train clipgen's codes: pictures to tokens and back"),
    "gpt": ("engine.training.train_gpt", "train clipgen's drawing of tokens from an embedding"),
    "merges": ("engine.training.merges", "cut the CLIPs' tokenizer to their words"),
    "clip-figures": ("engine.training.evaluate_clip", "measure the shipped CLIPs alone"),
    "evaluate": ("engine.training.evaluate", "measure the shipped weights"),
    "export": ("engine.training.export", "write a trained generator into the pack"),
    "looks": ("engine.training.looks", "give the shipped generator looks in colours that it lacks"),
    "pack": ("engine.training.pack", "write the pack's TOML from the exported weights"),
}


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Hand the rest of the command line to the verb's module; a wrong setting ends in one sentence, not a traceback."""
    listing = "\n".join(f"  {verb:<14}{purpose}" for verb, (_, purpose) in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="python -m engine.training",
        epilog=f"verbs:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="what to do; VERB --help says more")
    chosen = parser.parse_args(argv[:1])
    module = importlib.import_module(VERBS[chosen.verb][0])
    try:
        return int(module.main(chosen.verb, argv[1:], environ))
    except (ValueError, FileNotFoundError) as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
