"""The signer: a process that holds the issuers' keys, and signs only what it has found right by itself.

Whoever asks sends whole certificates and lists, never a digest. `tbs` reads them from their octets, and they are held
against the configuration that this process has read and against the ledger, which it reads over a connection of its
own. So a process that answers the network can be taken over and still gets no certificate of a CA, none that the ledger
does not know, and no second one of a serial. docs/how-to/signer.md
"""
