import registry.models.figures
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0022_history_by_statement'),
    ]

    operations = [
        migrations.AlterField(
            model_name='dayfigures',
            name='opened',
            field=models.BigIntegerField(db_default=0, default=0, help_text='users who opened a message, 7 days'),
        ),
        migrations.AlterField(
            model_name='dayfigures',
            name='registrations',
            field=models.JSONField(default=registry.models.figures.nothing, help_text='by platform and state, e.g. ios:registered; ios:living: devices'),
        ),
    ]
