"""What a reader says when a file is not to be kept."""


class Refused(Exception):
    """`code` is one of `documents.errors.REFUSALS`; `detail` holds nothing of the file's content."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail
