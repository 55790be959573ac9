import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0003_engine'),
    ]

    operations = [
        migrations.CreateModel(
            name='ChangeFeed',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('table', models.CharField(choices=[('contact', 'contact'), ('lead', 'lead'), ('profile', 'Customer Insights - Data profile')], max_length=8)),
                ('link', models.TextField(blank=True, default='')),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('claim_no', models.BigIntegerField(default=0, editable=False)),
                ('started_at', models.DateTimeField(blank=True, help_text='When the reading of all records began', null=True)),
                ('completed_at', models.DateTimeField(blank=True, help_text='When all records were read; changes are followed since it began', null=True)),
                ('checked_at', models.DateTimeField(blank=True, help_text='When the last page came', null=True)),
                ('detail', models.TextField(blank=True, default='', help_text='Why the last page did not come')),
            ],
            options={
                'verbose_name': 'change feed',
            },
        ),
        migrations.AddField(
            model_name='dataverseenvironment',
            name='change_tracking',
            field=models.BooleanField(default=False, help_text='Read the changes of contacts, leads and profiles every few minutes. The application user needs the privilege to read these tables of the whole organisation, and each table its property Track changes (Power Apps: Tables, Properties, Advanced options). Its change feed tells what is missing.'),
        ),
        migrations.AddIndex(
            model_name='mobileuser',
            index=models.Index(django.db.models.functions.text.Lower('email'), name='mobileuser_email'),
        ),
        migrations.AddIndex(
            model_name='mobileuser',
            index=models.Index(condition=models.Q(('phone', ''), _negated=True), fields=['phone'], name='mobileuser_phone'),
        ),
        migrations.AddField(
            model_name='changefeed',
            name='environment',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='change_feeds', to='registry.dataverseenvironment'),
        ),
        migrations.AddConstraint(
            model_name='changefeed',
            constraint=models.UniqueConstraint(fields=('environment', 'table'), name='changefeed_table_unique'),
        ),
        # Without statistics of the new expression PostgreSQL would read the whole table instead of the index.
        migrations.RunSQL('ANALYZE registry_mobileuser', migrations.RunSQL.noop),
    ]
