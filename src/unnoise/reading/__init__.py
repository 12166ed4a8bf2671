"""From bytes on the disk to arrays: stores of files, pictures decoded safely, fields of text, columns, labels."""
