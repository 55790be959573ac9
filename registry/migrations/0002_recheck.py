import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='dataverseenvironment',
            name='losses_accepted_until',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='dataversemapping',
            name='recheck_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AlterField(
            model_name='pause',
            name='reason',
            field=models.CharField(choices=[('throttled', 'Microsoft asked us to wait'), ('credentials', 'the credentials are refused'), ('configuration', 'everything is refused: org, mobile app id or ApiToken are wrong'), ('unavailable', 'it does not answer'), ('mappings_lost', "most of the records that users are mapped to are gone: check that tokenhub's application user in Dataverse still may read contacts, leads and profiles of the whole organisation; if they were really deleted, accept that with manage.py resume_app"), ('dry_run', "test messages to many tokens fail: the app's push credentials there are wrong or expired")], max_length=16),
        ),
        migrations.AddIndex(
            model_name='dataversemapping',
            index=models.Index(condition=models.Q(('state', 'mapped')), fields=['recheck_at'], name='mapping_recheck'),
        ),
    ]
