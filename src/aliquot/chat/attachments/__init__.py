"""Files that people attach to messages: received, checked, scanned, stored sealed, given to models, downloaded, deleted.

How a file is opened is `documents`' matter, how it is stored `platform.blobs`'. A file belongs to who uploaded it; who may read a
conversation may read the files bound to its messages.
"""
