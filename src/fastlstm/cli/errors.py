"""How a command can end other than well."""


class CommandError(ValueError):
    """Options of a command that do not go together; the message says what was expected."""


class CommandInterruptedError(Exception):
    """A command that a signal ended in order; the message says where it stands, how to go on.

    No KeyboardInterrupt: Typer would swallow its message.
    """
