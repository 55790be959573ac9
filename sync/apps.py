from django.apps import AppConfig


class SyncConfig(AppConfig):
    name = "sync"

    def ready(self) -> None:
        from registry.ports import work_waiting
        from sync import tasks

        work_waiting.connect(tasks.on_work_waiting, dispatch_uid="sync.nudge")
