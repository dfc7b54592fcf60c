import Shared

/// All that docker-discover has to do with etcd: it follows the registry, writes claims of ports, says that it runs, and
/// counts who else does.
struct RegistryLink: Sendable {
    /// Follows the registry.
    let source: EtcdCatalogSource
    /// Writes claims.
    let claimer: PortClaimer
    /// Says that this docker-discover runs.
    let presence: ConsumerPresence
    /// Counts those that do.
    let census: ConsumerCensus

    /// Prepares all of it; nothing is asked yet.
    init(
        _ http: HTTPClient, _ configuration: DiscoverConfiguration, _ timing: EtcdCatalogSource.Timing, _ logger: Logger
    ) {
        let client = Etcd.Client(http, configuration.etcd, first: .random(in: 0..<1024))
        let keyspace = configuration.keyspace
        source = EtcdCatalogSource(
            client: client, keyspace: keyspace, mode: configuration.mode, timing: timing, logger: logger,
            health: EtcdHealth(logger))
        claimer = PortClaimer(client, keyspace, logger: logger)
        presence = ConsumerPresence(client, keyspace, instance: configuration.directory.instance(), logger: logger)
        census = ConsumerCensus(client: client, keyspace: keyspace, logger: logger)
    }
}
