"""Messages for what the command line cannot work with."""


def require(condition: bool, argument: str, requirement: str, got: object) -> None:
    """Raise the package's one form of ``ValueError`` unless ``condition`` holds."""
    if not condition:
        shown = got if isinstance(got, str) else repr(got)
        raise ValueError(f"gobj: `{argument}` must {requirement}; got {shown}.")
