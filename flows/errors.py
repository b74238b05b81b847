"""What `flows` refuses to do by itself; what jobs refuse is theirs."""


class StackError(RuntimeError):
    """A service cannot be started; the message says which, and what to do."""
