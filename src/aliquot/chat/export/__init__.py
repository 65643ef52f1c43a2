"""Conversations out of the house and back: PDF, Markdown, and a JSON that can be imported again without loss; also by e-mail.

What people and models wrote is data here: no HTML, no script link and no template command in it survives into a file.
"""
