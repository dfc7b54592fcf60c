import Shared

extension SupervisedHAProxy {
    /// Starts HAProxy with a configuration.
    ///
    /// - Parameter isProven: whether an HAProxy has run this very file, so that it needs no check.
    func start(
        with configuration: HAProxyConfiguration, isProven: Bool
    ) async throws -> (HAProxyMaster, HAProxyWorker) {
        forgetStates()
        do {
            // A check would only say sooner what the start says, at the price of loading everything twice.
            return try await install(configuration, isProven: true) { try await start(expecting: configuration.mark) }
        } catch  where !isProven && !Task.isCancelled {
            if let refusal = try await refusal(of: configuration) { throw refusal }
            throw error
        }
    }

    /// Brings a running HAProxy to a configuration without losing a connection.
    func reload(_ master: HAProxyMaster, with configuration: HAProxyConfiguration) async throws -> HAProxyWorker {
        try await installKeepingStates(configuration) { try await reload(master, expecting: configuration.mark) }
    }

    /// Installs a configuration by a reload after which servers are what they were before it.
    func installKeepingStates<Result>(
        _ configuration: HAProxyConfiguration, _ reload: () async throws -> Result
    ) async throws -> Result {
        forgetStates()
        return try await install(configuration, isProven: false) {
            await keepStates(for: configuration)
            defer { forgetStates() }
            return try await reload()
        }
    }

    /// Why HAProxy would not run a configuration; nil where it would.
    func refusal(of configuration: HAProxyConfiguration) async throws -> HAProxyProgram.Rejection? {
        try directory.restore()
        let candidate = try self.configuration.candidate(Array(configuration.text.utf8), isFlushed: false)
        defer { candidate.discard() }
        do {
            try await program.check(candidate.path)
            return nil
        } catch let refusal as HAProxyProgram.Rejection {
            return refusal
        }
    }

    /// Whether the file has to outlive a power failure: no HAProxy that we run by it does, another's is started with it
    /// again.
    private var mustOutlivePower: Bool { existing != nil }

    /// Brings the file to a configuration that HAProxy runs already.
    func keep(_ configuration: HAProxyConfiguration) throws {
        try directory.restore()
        try existing?.checkFile()
        try self.configuration.replace(isFlushed: mustOutlivePower) { write in
            for piece in configuration.pieces { try write(Array(piece.utf8)) }
        }
    }

    /// Writes down what the next worker has to know of the servers; without it they all begin as up.
    private func keepStates(for configuration: HAProxyConfiguration) async {
        guard let report = try? await runtime.report() else { return }
        let text = ServerStateFile.text(report.states, for: configuration)
        _ = try? directory.serverStates.replace(with: Array(text.utf8), isFlushed: false)
    }

    /// Empties the file of states, so that no later start or reload takes old ones for true.
    func forgetStates() {
        // Where that fails, so will what follows, and say why.
        try? directory.restore()
        let file = directory.serverStates
        do {
            try file.replace(with: Array(ServerState.fileHead.utf8), isFlushed: false)
        } catch {
            file.remove()
        }
    }

    /// Checks the file, puts it in place and acts; whatever fails, the file before it is back in its place then.
    func install<Result>(
        _ configuration: HAProxyConfiguration, isProven: Bool, _ act: () async throws -> Result
    ) async throws -> Result {
        try directory.restore()
        try existing?.checkFile()
        let file = self.configuration
        let previous = try FileContents(file.path).bytes
        let bytes = Array(configuration.text.utf8)
        if previous == bytes {
            // Nothing has to be written, so a full disk is no hindrance.
            if !isProven { try await program.check(file.path) }
            return try await act()
        }
        let candidate = try file.candidate(bytes, isFlushed: mustOutlivePower)
        do {
            if !isProven { try await program.check(candidate.path) }
            try candidate.commit()
        } catch {
            candidate.discard()
            throw error
        }
        do {
            return try await act()
        } catch {
            if let previous { try file.replace(with: previous, isFlushed: mustOutlivePower) }
            throw error
        }
    }
}

extension SupervisedHAProxy {
    /// What HAProxy says now; it costs HAProxy 60 ms where there are 10 000 servers.
    func sight(deadline: Duration) async throws -> ProxyStats {
        let answer = try await runtime.socket.send(ProxyStats.question, deadline: deadline)
        guard var sight = ProxyStats(answer) else {
            throw RuntimeFailure.unexpected(answer: String(answer.prefix(100)), to: ProxyStats.question)
        }
        if let table = try? await table() { (sight.master, sight.oldWorkers) = (table.master, table.oldWorkers.count) }
        return sight
    }
}
