#include "CResolv.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

enum {
    longest_answer = 65536,
    // Two rounds of two seconds for each server, instead of two of five: whoever asks asks again.
    seconds = 2,
    rounds = 2,
    // Priority, weight and port; the target follows.
    numbers = 6,
};

static int read_records(ns_msg *message, cresolv_record *records, int capacity) {
    int count = 0;
    for (int index = 0; index < ns_msg_count(*message, ns_s_an); index++) {
        ns_rr record;
        if (ns_parserr(message, ns_s_an, index, &record) != 0) return -NO_RECOVERY;
        // Aliases may stand before it.
        if (ns_rr_type(record) != ns_t_srv) continue;
        if (ns_rr_rdlen(record) <= numbers) return -NO_RECOVERY;
        const unsigned char *data = ns_rr_rdata(record);
        cresolv_record found = {.priority = ns_get16(data), .port = ns_get16(data + 4)};
        if (dn_expand(ns_msg_base(*message), ns_msg_end(*message), data + numbers, found.target,
                      sizeof found.target) < 0)
            return -NO_RECOVERY;
        if (count < capacity) records[count] = found;
        count++;
    }
    return count;
}

int cresolv_query(const char *name, cresolv_record *records, int capacity) {
    struct __res_state state;
    memset(&state, 0, sizeof state);
    if (res_ninit(&state) != 0) return -NO_RECOVERY;
    state.retrans = seconds;
    state.retry = rounds;
    int result = -NO_RECOVERY;
    unsigned char *answer = malloc(longest_answer);
    if (answer != NULL) {
        int length = res_nsearch(&state, name, ns_c_in, ns_t_srv, answer, longest_answer);
        ns_msg message;
        if (length < 0)
            result = state.res_h_errno > 0 ? -state.res_h_errno : -NO_RECOVERY;
        else if (ns_initparse(answer, length < longest_answer ? length : longest_answer, &message) == 0)
            result = read_records(&message, records, capacity);
        free(answer);
    }
    res_nclose(&state);
    return result;
}
