"""Refusals of folders."""

from aliquot.kernel.problems import Conflict, InvalidInput, NotFound


class UnknownFolder(NotFound):
    code, sentence = "unknown_folder", "This folder does not exist, or it is not yours."


class FolderNameTaken(Conflict):
    code, sentence = "folder_name_taken", "There is a folder of this name in the same place already."


class FolderCycle(Conflict):
    code, sentence = "folder_cycle", "A folder cannot be moved into itself or into a folder below it."


class FolderTooDeep(InvalidInput):
    code, sentence = "folder_too_deep", "Folders cannot be nested this deep."


class TooManyPinned(Conflict):
    code, sentence = "too_many_pinned", "There are too many pinned conversations; unpin one first."


class TooManyFolders(Conflict):
    code, sentence = "too_many_folders", "There are too many folders; delete one first."
