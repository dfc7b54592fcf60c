#ifndef SIDEKICK_CRESOLV_H
#define SIDEKICK_CRESOLV_H

// Swift does not see glibc's resolver: its functions are macros. This is the one question that is asked, and nothing else.

// A SRV record (RFC 2782). The target has no dot at its end, and is empty where the service is not offered.
typedef struct {
    unsigned short priority;
    unsigned short port;
    char target[1025];
} cresolv_record;

// Asks for the SRV records of a name, also below the search domains. It blocks for some seconds at most.
// The number of records in the answer, of which the first `capacity` are stored; below 0 the negative h_errno.
int cresolv_query(const char *name, cresolv_record *records, int capacity);

#endif
