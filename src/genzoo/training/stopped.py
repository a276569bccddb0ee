"""What ends a training before its budget; light, since every command looks out for it."""


class TrainingStopped(RuntimeError):
    """Training ended before its budget, with its state saved.

    Args:
        message: What happened and what to try.
        code: Exit code for a command line: 1 health, 130 SIGINT, 143 SIGTERM.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
