#ifndef CRESOLV_H
#define CRESOLV_H

/* An SRV record (RFC 2782). */
struct cresolv_srv {
    unsigned short priority;
    unsigned short weight;
    unsigned short port;
    char target[256];
};

/* Why there are no records; any other negative number means that no server answered. */
#define CRESOLV_NO_SUCH_NAME (-2)

/* Looks up the SRV records of a name, in the search domains of resolv.conf too (resolver(3)). It blocks for as long as
   resolv.conf says, and may be called on several threads at a time. Returns how many records there are, at most `room`
   of which are in `records`, or a negative number. */
int cresolv_lookup(const char *name, struct cresolv_srv *records, int room);

#endif
