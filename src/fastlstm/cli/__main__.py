"""`python -m fastlstm.cli`: the command for launchers, `torchrun -m fastlstm.cli train …`."""

from fastlstm.cli.main import main

main()
