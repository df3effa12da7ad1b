"""What this worker may write. proto/spatialdb/v1/authority.proto has the rules.

Regions of a layer belong to workers, and entities belong to regions. The world tells what comes and what goes; a write is
taken if the worker owned the entity and knew it: it names the last word that it has heard, `seen`. A world without layers
is open: there anybody may write everything.
"""


class Authority:
    def __init__(self, layers):
        self.layers = {layer.name: layer.writes for layer in layers}  # name -> components that the owner writes
        self.seen = 0
        self.regions = {}  # id -> which grant, of those that are ours
        self.let_go = set()  # regions of ours that somebody else is about to get
        self.homes = {}  # (layer, entity) -> its region, and which grant
        self.to_warm = []  # regions that we may get once we see what is there
        self.is_draining = False

    @property
    def is_drained(self):
        """Whether the worker was told to give up all it has, and has: then it should end."""
        return self.is_draining and not self.regions

    def owns(self, entity, component):
        """Whether this worker may write that component of the entity."""
        if not self.layers:
            return True
        layers = (layer for layer, writes in self.layers.items() if component in writes)
        homes = (self.homes.get((layer, entity), (0, 0))[0] for layer in layers)
        return any(region in self.regions and region not in self.let_go for region in homes)

    def hear(self, message, report):
        """Takes in one word, and puts into the report what has to be answered. Whether there is anything."""
        self.seen, kind = message.number, message.WhichOneof("body")
        body = getattr(message, kind) if kind else None
        if kind in ("gained", "shaped"):
            self.regions[body.region] = body.epoch
        elif kind == "joined":
            self.regions.pop(body.gone, None)
            moved = {key: (body.keep, epoch) for key, (region, epoch) in self.homes.items() if region == body.gone}
            self.homes.update(moved)
        elif kind == "lost":
            self.regions.pop(body.region, None)
            # What came to it under a later grant stays: that grant is still to come.
            self.homes = {key: (region, epoch) for key, (region, epoch) in self.homes.items()
                          if region != body.region or epoch > body.epoch}
        elif kind == "loss_imminent":
            # All that the worker knows it has written already, so it lets go at once.
            self.let_go.add(body.region)
            report.flushed.add(region=body.region, epoch=body.epoch)
        elif kind == "warm":
            self.to_warm.append(body.region)
        elif kind == "drain":
            self.is_draining = True
        elif kind == "entities":
            for change in body.changes:
                for entity in change.entities:
                    if change.gained:
                        self.homes[change.layer, entity] = change.region, change.epoch
                    else:
                        self.homes.pop((change.layer, entity), None)
        if kind in ("gained", "kept", "lost"):
            self.let_go.discard(body.region)
        return kind in ("gained", "lost", "loss_imminent")
