"""`python -m aliquot.cli.chat`: the client without the server's code."""

from aliquot.cli.chat.command import main

main()
