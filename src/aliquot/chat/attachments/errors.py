"""Refusals of attachments. What is wrong with a file itself is in `documents.errors`."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound, Problem, RateLimited, TooLarge


class UnknownAttachment(NotFound):
    code, sentence = "unknown_attachment", "This file does not exist, or it is not yours."


class UnknownMessage(NotFound):
    code, sentence = "unknown_message", "This message does not exist, or it is not yours."


class FileTooLarge(TooLarge):
    code, sentence = "file_too_large", "The file is too large."


class QuotaExceeded(TooLarge):
    code, sentence = "quota_exceeded", "Your files take all the space you have here. Delete some first."


class TooManyAttachments(InvalidInput):
    code, sentence = "too_many_attachments", "A message cannot have so many files."


class TooManyUploads(RateLimited):
    code, sentence = "too_many_uploads", "Many files are being uploaded at this moment. Please try again in a few seconds."


class UploadCut(InvalidInput):
    code, status, sentence = "upload_cut", 400, "The upload broke off. Nothing was stored; please send the file again."


class UploadTooSlow(Problem):
    code, status, sentence = "upload_too_slow", 408, "The upload took too long. Nothing was stored; please send the file again."


class NotAnUpload(InvalidInput):
    code, sentence = "not_an_upload", "Send one file as multipart/form-data, in a field with a file name."


class ChecksumMismatch(InvalidInput):
    code, sentence = "checksum_mismatch", "What arrived does not have the given SHA-256. Nothing was stored; please send the file again."


class FileInfected(Problem):
    code, status, sentence = "file_infected", 422, "The malware scanner found something in this file. It was not kept."


class FileWaiting(Conflict):
    code, sentence = "file_waiting", "This file waits for the malware scan. Please try again later."
    retryable = True


class FileNotScanned(Conflict):
    code, sentence = "file_not_scanned", "This file was never scanned for malware, so it is not given to everybody."


class FileGone(Problem):
    code, status, sentence = "file_gone", 410, "This file was deleted."


class NotTheUploader(Forbidden):
    code, sentence = "not_the_uploader", "Only who uploaded this file can delete it."


class NotTheAuthor(Forbidden):
    code, sentence = "not_the_author", "Files can only be attached to one's own messages."


class LinkInvalid(Problem):
    code, status, sentence = "link_invalid", 401, "This download link is not valid."


class LinkExpired(Problem):
    code, status, sentence = "link_expired", 410, "This download link has expired. Ask for a new one."
