import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0008_event_messages'),
    ]

    operations = [
        migrations.CreateModel(
            name='ReplacedConnection',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('registry.mobileapp',),
        ),
        migrations.RemoveConstraint(
            model_name='mobileapp',
            name='mobileapp_org_app_unique',
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='connection_no',
            field=models.BigIntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='marked_to',
            field=models.BigIntegerField(blank=True, editable=False, help_text='Devices up to this id were marked to be registered anew', null=True),
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='note',
            field=models.TextField(blank=True, db_default='', default='', editable=False, help_text='Why, and by whom'),
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='over_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='When nothing was left under it', null=True),
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='replaced_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='replaced_by',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaced_connections', to='registry.mobileapp'),
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='written_off',
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False, help_text='Registrations that it may still hold: it was abandoned'),
        ),
        migrations.AddField(
            model_name='dataversemapping',
            name='told_deleted',
            field=models.BooleanField(db_default=False, editable=False),
        ),
        migrations.AddConstraint(
            model_name='mobileapp',
            constraint=models.UniqueConstraint(condition=models.Q(('replaced_by__isnull', True)), fields=('org_id', 'mobile_app_id'), name='mobileapp_org_app_unique'),
        ),
    ]
