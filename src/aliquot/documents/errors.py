"""Refusals of files."""

from aliquot.kernel.problems import InvalidInput, Problem, Unavailable


class FileRefused(InvalidInput):
    """Base of what is refused because of the file itself."""

    code, sentence = "file_refused", "This file cannot be accepted."


class EmptyFile(FileRefused):
    code, sentence = "empty_file", "The file is empty."


class TypeNotAllowed(FileRefused):
    code, status = "type_not_allowed", 415
    sentence = "Files of this type are not accepted: send PDF, PNG, JPEG, GIF, WebP, text, Markdown, CSV, XLSX or DOCX."


class TypeMismatch(FileRefused):
    code, sentence = "type_mismatch", "The file's name says another type than its content."


class AmbiguousFile(FileRefused):
    code, sentence = "ambiguous_file", "The file is two kinds of file at once, so it is not accepted."


class EncryptedFile(FileRefused):
    code, sentence = "encrypted_file", "The file is protected by a password. Send it without one."


class BrokenFile(FileRefused):
    code, sentence = "broken_file", "The file is damaged and cannot be opened."


class UnpacksTooLarge(FileRefused):
    code, sentence = "unpacks_too_large", "The file unpacks to far more than it should."


class ImageTooLarge(FileRefused):
    code, sentence = "image_too_large", "The image has too many pixels."


class UnsafeDocument(FileRefused):
    code, sentence = "unsafe_document", "The document holds macros or declarations that are not accepted."


class BadFileName(FileRefused):
    code, sentence = "bad_file_name", "The file's name cannot be used."


class TooHardToRead(FileRefused):
    code, sentence = "too_hard_to_read", "The file takes too much time or memory to open."


class ReaderUnavailable(Unavailable):
    code, sentence = "reader_unavailable", "Files cannot be opened at the moment. Nothing was stored; please try again."


REFUSALS: dict[str, type[Problem]] = {
    cls.code: cls
    for cls in (
        EmptyFile, TypeNotAllowed, TypeMismatch, AmbiguousFile, EncryptedFile, BrokenFile, UnpacksTooLarge, ImageTooLarge, UnsafeDocument,
        TooHardToRead,
    )
}  # fmt: skip
"""What the reading process may answer with, by code."""
