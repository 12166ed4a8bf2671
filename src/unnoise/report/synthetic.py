"""The mark of synthetic media that machines read: IPTC's digital source type in a picture's XMP packet.

International Press Telecommunications Council, Digital Source Type NewsCodes, 2021: platforms and cameras write and
read it, and C2PA uses the same words.
"""

import re

KEYWORD = "XML:com.adobe.xmp"  # of the PNG chunk iTXt that holds XMP (Adobe, XMP Specification Part 3, 1.1.5)
NEWSCODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
DRAWN, EDITED = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{source}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def packet(edited: bool = False) -> str:
    """The XMP of a picture that a model drew; edited: of one that it drew into a picture that was given."""
    return _PACKET.format(source=NEWSCODES + (EDITED if edited else DRAWN))


def source(xmp: str) -> str | None:
    """The digital source type that a packet names, without the vocabulary; None where it names none."""
    found = re.search(r'Iptc4xmpExt:DigitalSourceType(?:="|>)' + re.escape(NEWSCODES) + r"(\w+)", xmp)
    return found and found[1]


__all__ = ["DRAWN", "EDITED", "KEYWORD", "packet", "source"]
